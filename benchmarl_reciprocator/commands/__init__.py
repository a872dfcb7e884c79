"""What a person types. Each command is a thin file: arguments in, one function of the floors below, a report out."""
