"""The pages of behest: what runs look like in a browser. HTML and SVG are made on the server."""
