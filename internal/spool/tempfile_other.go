//go:build !linux

package spool

import "os"

func tempFile(dir string) (*os.File, error) { return unlinkedFile(dir) }
