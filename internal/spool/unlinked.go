package spool

import "os"

// unlinkedFile makes a file and takes its name away at once.
func unlinkedFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "body-*") // mode 0600
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
