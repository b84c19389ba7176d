"""Executors of tasks on other machines: containers of a remote engine, and Kubernetes."""
