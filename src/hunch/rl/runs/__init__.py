"""Trainings in folders, and what is done while an agent learns: evaluate, log, record, stop."""
