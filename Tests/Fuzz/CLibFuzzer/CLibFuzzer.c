// A C target needs a source file; the function itself comes with the sanitizer.
