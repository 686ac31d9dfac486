"""The search for an INT8 build that passes its gate, where the plain one does not.

`plan` says what is tried next, from what has been tried: pure. `search` has it built and judged, one child process a
try. `trial` is a finished try as data, `state` keeps them for a run that goes on after a kill, `choice` takes the best.
"""
