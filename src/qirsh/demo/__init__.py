"""A demo shop for `qirsh dev`: a page that sells, and the endpoint that hears of paid orders."""
