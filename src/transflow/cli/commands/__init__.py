"""One file a command: ``HELP``, ``arguments(parser)`` and ``run(options)``; torch is loaded in ``run`` alone."""
