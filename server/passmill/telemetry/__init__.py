"""What operators see: logs without secrets, metrics over all processes, health and readiness."""
