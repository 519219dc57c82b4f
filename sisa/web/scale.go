package web

// Making an image small and upright.

import (
	"bufio"
	"encoding/binary"
	"image"
	"image/color"
	"io"
)

// maxSamples bounds, for each side of a small pixel, how many large ones it is
// the mean of: 64 together are enough for a thumbnail, of whatever size.
const maxSamples = 8

// scale gives an image of at most previewEdge pixels a side, turned as an EXIF
// orientation (1 to 8) says. Smaller images keep their size.
func scale(large image.Image, orientation int) *image.RGBA {
	from := large.Bounds()
	width, height := from.Dx(), from.Dy()
	if longer := max(width, height); longer > previewEdge {
		width, height = max(1, width*previewEdge/longer), max(1, height*previewEdge/longer)
	}
	turned := orientation >= 5
	to := image.NewRGBA(image.Rect(0, 0, width, height))
	if turned {
		to = image.NewRGBA(image.Rect(0, 0, height, width))
	}
	for y := range height {
		for x := range width {
			c := mean(large, image.Rect(
				from.Min.X+x*from.Dx()/width, from.Min.Y+y*from.Dy()/height,
				from.Min.X+(x+1)*from.Dx()/width, from.Min.Y+(y+1)*from.Dy()/height))
			tx, ty := upright(x, y, width, height, orientation)
			to.SetRGBA(tx, ty, c)
		}
	}
	return to
}

// mean is the mean colour of an area, from samples spread evenly over it.
func mean(img image.Image, area image.Rectangle) color.RGBA {
	nx, ny := min(area.Dx(), maxSamples), min(area.Dy(), maxSamples)
	var r, g, b, a uint64
	for j := range ny {
		for i := range nx {
			// The middle of each of nx by ny pieces.
			x := area.Min.X + (2*i+1)*area.Dx()/(2*nx)
			y := area.Min.Y + (2*j+1)*area.Dy()/(2*ny)
			pr, pg, pb, pa := img.At(x, y).RGBA()
			r, g, b, a = r+uint64(pr), g+uint64(pg), b+uint64(pb), a+uint64(pa)
		}
	}
	n := uint64(nx*ny) * 257 // 16 bits to 8
	return color.RGBA{uint8(r / n), uint8(g / n), uint8(b / n), uint8(a / n)}
}

// upright tells where a pixel goes that the camera stored at x, y.
func upright(x, y, width, height, orientation int) (int, int) {
	switch orientation {
	case 2:
		return width - 1 - x, y
	case 3:
		return width - 1 - x, height - 1 - y
	case 4:
		return x, height - 1 - y
	case 5:
		return y, x
	case 6:
		return height - 1 - y, x
	case 7:
		return height - 1 - y, width - 1 - x
	case 8:
		return y, width - 1 - x
	}
	return x, y
}

const (
	// maxJPEGSegments is how many segments are looked through for the
	// orientation; cameras write it in the first or second.
	maxJPEGSegments = 16
	orientationTag  = 0x0112 // of TIFF
	shortType       = 3      // of TIFF: 16 bits
	entryBytes      = 12     // of a TIFF directory
)

// jpegOrientation reads how the camera was held (EXIF); 1 where nothing says so.
func jpegOrientation(content io.Reader) int {
	in := bufio.NewReaderSize(content, readPiece)
	var marker [4]byte
	if _, err := io.ReadFull(in, marker[:2]); err != nil { // FF D8
		return 1
	}
	for range maxJPEGSegments {
		if _, err := io.ReadFull(in, marker[:]); err != nil || marker[0] != 0xff {
			return 1
		}
		size := int(binary.BigEndian.Uint16(marker[2:])) - 2
		if size < 0 || marker[1] == 0xda { // the picture itself
			return 1
		}
		if marker[1] != 0xe1 {
			if _, err := in.Discard(size); err != nil {
				return 1
			}
			continue
		}
		segment := make([]byte, size)
		if _, err := io.ReadFull(in, segment); err != nil {
			return 1
		}
		if o := exifOrientation(segment); o != 0 {
			return o
		}
	}
	return 1
}

// exifOrientation reads the orientation in an APP1 segment; 0 if it has none.
func exifOrientation(segment []byte) int {
	const prefix = "Exif\x00\x00"
	if len(segment) < len(prefix)+8 || string(segment[:len(prefix)]) != prefix {
		return 0
	}
	tiff := segment[len(prefix):]
	var order binary.ByteOrder = binary.BigEndian
	if string(tiff[:2]) == "II" {
		order = binary.LittleEndian
	}
	at := int(order.Uint32(tiff[4:]))
	if at < 8 || at > len(tiff)-2 {
		return 0
	}
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(entries) < entryBytes {
			return 0
		}
		if order.Uint16(entries) == orientationTag && order.Uint16(entries[2:]) == shortType {
			if o := int(order.Uint16(entries[8:])); o >= 1 && o <= 8 {
				return o
			}
			return 0
		}
		entries = entries[entryBytes:]
	}
	return 0
}
