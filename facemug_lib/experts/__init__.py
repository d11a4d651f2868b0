"""Experts: frozen networks that look at faces and are never trained together with the generator."""
