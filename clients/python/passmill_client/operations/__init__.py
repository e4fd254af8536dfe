"""What can be asked of Passmill: a module a service, a function an operation.

Each function turns Python's arguments into a `Call`; its docstring is that of the client's method.
"""
