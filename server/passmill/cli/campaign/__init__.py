"""`passmill campaign`: files of recipients in, watching and steering, results and passes out."""
