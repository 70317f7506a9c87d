"""Random fault schedules against the twin: `make faults N=200 SEED=1`.

The real services run on the twin's clock, while a schedule that a seed draws breaks what is around them: readings,
watches, writes, KEDA's way to the scaler, the processes themselves, nodes, budgets, and what users do. Every invariant
of the design is checked at every step. The same seed is the same run.
"""
