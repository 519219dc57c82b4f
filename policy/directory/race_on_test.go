//go:build race

package directory

// The race detector takes many times the time and memory.
const raceDetector = true
