"""What this machine has of what FACEMUG needs (:mod:`~facemug_lib.machine.doctor`), and how fast it is
(:mod:`~facemug_lib.machine.bench`)."""
