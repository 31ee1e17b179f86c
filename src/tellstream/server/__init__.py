"""The shell: ASGI application, routes, responses."""
