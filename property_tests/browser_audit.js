// What is wrong with the page that is open, a line each; run with everything unfolded.
() => {
  const found = [];
  const all = (what) => Array.from(document.querySelectorAll(what));
  const told = (element) => `${element.tagName.toLowerCase()} "${element.textContent.trim().slice(0, 40)}"`;
  const shown = (element) => element.getClientRects().length > 0;

  const wide = document.documentElement.scrollWidth - window.innerWidth;
  if (wide > 0) {
    const out = all("body *").find(
      (part) => part.getBoundingClientRect().right > window.innerWidth + 1 && !part.parentElement.closest(".scroll"),
    );
    found.push(`overflow: the page is ${wide} px wider than the window${out ? `, by ${told(out)}` : ""}`);
  }

  let level = 0;
  for (const heading of all("h1,h2,h3,h4,h5,h6")) {
    const now = Number(heading.tagName[1]);
    if (now > level + 1) found.push(`headings: ${told(heading)} follows one of level ${level}`);
    level = now;
  }
  if (all("h1").length !== 1) found.push(`headings: ${all("h1").length} of level 1`);
  if (!document.documentElement.lang) found.push("language: none is named");

  for (const head of all("th")) {
    if (!head.scope) found.push(`scope: ${told(head)} has none`);
    if (!head.textContent.trim()) found.push("header: one of a table says nothing");
  }
  for (const caption of all("caption")) {
    // One for those who listen is not to be seen, wherever it is put.
    const box = caption.getBoundingClientRect();
    const style = getComputedStyle(caption);
    const shows = shown(caption) && style.overflow !== "hidden" && box.right > 0;
    if (style.position === "absolute" && shows) found.push(`caption: ${told(caption)} lies over others`);
  }
  for (const svg of all("svg")) {
    if (svg.getAttribute("role") !== "img" || !svg.getAttribute("aria-label")) {
      found.push("alternative: a picture has none");
    }
    const view = svg.viewBox.baseVal;
    const box = svg.getBBox();
    if (shown(svg) && (box.width <= 0 || svg.getBoundingClientRect().height <= 0)) {
      found.push(`drawing: nothing of ${svg.getAttribute("aria-label")}`);
    }
    const beyond = Math.max(-box.x, -box.y, box.x + box.width - view.width, box.y + box.height - view.height);
    if (shown(svg) && beyond > 4) {
      found.push(`drawing: ${svg.getAttribute("aria-label").slice(0, 60)} is cut by ${Math.round(beyond)}`);
    }
  }
  for (const field of all("input,select,textarea")) {
    if (!field.labels.length && !field.ariaLabel) found.push(`label: ${told(field)} has none`);
  }
  for (const link of all("a[href^='#']")) {
    if (!document.getElementById(link.hash.slice(1))) found.push(`link: ${link.hash} leads nowhere`);
  }
  for (const area of all(".scroll")) {
    if (area.scrollWidth > area.clientWidth && area.tabIndex < 0) {
      found.push("keyboard: a part that scrolls cannot be reached");
    }
  }

  function colour(text) {
    const numbers = (text.match(/[\d.]+/g) || []).map(Number);
    return numbers.length === 3 ? [...numbers, 1] : numbers;
  }
  function luminance([red, green, blue]) {
    const part = (value) => {
      const share = value / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    };
    return 0.2126 * part(red) + 0.7152 * part(green) + 0.0722 * part(blue);
  }
  function behind(element) {
    // In a drawing the box that a text stands in was drawn just before it.
    if (element instanceof SVGTextElement) {
      const box = element.previousElementSibling;
      if (box instanceof SVGRectElement) return colour(getComputedStyle(box).fill);
    }
    for (let at = element; at; at = at.parentElement) {
      const ground = colour(getComputedStyle(at).backgroundColor);
      if (ground.length === 4 && ground[3] === 1) return ground;
    }
    return [255, 255, 255, 1];
  }
  const seen = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || seen.has(element) || !shown(element)) continue;
    seen.add(element);
    const style = getComputedStyle(element);
    const ink = colour(element instanceof SVGElement ? style.fill : style.color);
    const [first, second] = [luminance(ink), luminance(behind(element))].sort((a, b) => b - a);
    const contrast = (first + 0.05) / (second + 0.05);
    if (contrast < 4.5) found.push(`contrast: ${contrast.toFixed(2)} of ${told(element)}`);
  }
  return [...new Set(found)];
}
