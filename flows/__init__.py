"""The order of the steps: settings, wiring, Prefect flows, the service and the command line."""
