"""Training: `internet train`, and its parts for other programs.

Nothing in a step is random but by the seed, the step's number and the sample's place in the whole batch. So a run that
was killed goes on as if it had not been, and N processes compute what one does with N times as many samples.
"""
