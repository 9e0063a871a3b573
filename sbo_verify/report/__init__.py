"""From records to text: terminal, Markdown, JSON. Nothing here is measured or judged."""
