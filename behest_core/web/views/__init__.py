"""The views: what each path of the page answers."""
