"""One file for each figure or table of the paper and of the README.

Each file has two functions, so that a picture can be drawn again without measuring again:

- ``data(…)`` measures, or loads what was measured, and returns plain values: tensors, numbers, texts. It draws nothing.
- ``draw(…)`` takes what ``data`` returned and gives a matplotlib figure. It measures nothing, loads nothing and saves nothing.

A figure whose numbers people want as well has ``table(…)``, which gives them as CSV. Who asks for a figure also saves it
(:func:`facemug_lib.figures.plotting.save_figure`). :mod:`facemug_lib.figures.plotting` holds what figures and notebooks share.
"""
