# answers            which part of the page a request gets; its documents
# nodes              what a node is and holds
# slices             which elements of a plane are read, so that little is read however large it is
# pictures           numbers as a picture (PNG), and how many there are of which size       pure
# static/            the page itself: HTML, CSS and JavaScript, as they are sent
"""The page for people: a hierarchy with its attributes and pictures of its arrays."""
