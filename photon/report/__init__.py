"""Reports about fits: one HTML page that carries all it shows, figures drawn as SVG, no script and no other file."""
