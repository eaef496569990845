"""Kill runs again and again, starve them, lock them out, and see that they end as if undisturbed.

    python -m benchmarks.torture [--kills 60] [--minutes 25] [--out figures.json]

For each of the three questions a tiny survey is trained with every stage of a real run. The
undisturbed run says how its bytes look. Then the same run is killed (SIGKILL) in stages drawn so
that each of them is met, at random times, and in the middle of writes; each time it is resumed,
until it ends. Its answers must be the same bytes. Children are forked from a process that has
loaded everything, so that a kill costs no import.
"""
