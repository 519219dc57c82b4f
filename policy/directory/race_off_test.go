//go:build !race

package directory

// The race detector is off: limits of time and memory hold.
const raceDetector = false
