"""Puts producers and consumers against each other: knobs, placement, runner, judgement."""
