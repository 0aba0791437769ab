"""A fake of Alibaba's OpenAPI on 127.0.0.1: checks signatures as Alibaba does, and holds an account that changes."""
