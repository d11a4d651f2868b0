"""The lab bench: widgets for JupyterLab and Voilà, thin over :mod:`facemug_lib.editing`."""
