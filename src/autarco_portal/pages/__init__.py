"""What do people see? Server-rendered pages; `models` says of what each one is made."""
