"""The commands of `behest`, each a module of its own."""
