"""Widgets for JupyterLab and Voilà: painter and explorer, thin over :mod:`facemug_lib.editing`."""
