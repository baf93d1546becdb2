"""Word and PowerPoint: one walk over their XML, so that text inside an element that nobody expects is read too."""
