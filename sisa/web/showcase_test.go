package web

// Links whose pages are worth a look: as people get them, and hard to show.

import (
	"bytes"
	"image"
	"image/color"
	"strings"
)

// showcase is a link as people get it.
func showcase(s *stage, cfg *Config) {
	cfg.Previews = true
	s.addFile(6, "Site photo.jpg", "image/jpeg", jpegOf(s.t, landscape(640, 480)))
	s.addFile(7, "Costs 2026.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", bytes.Repeat([]byte("x"), 48_000))
}

// trouble adds names that are hard to show.
func trouble(s *stage, _ *Config) {
	s.addFile(8, "Costs "+strings.Repeat("2026_very_long_name_without_a_space_", 4)+".xlsx", "application/vnd.ms-excel", []byte("y"))
	s.addFile(9, "חוזה 2026.docx", "application/msword", bytes.Repeat([]byte("y"), 12_345))
}

// landscape is a picture of hills under a sky.
func landscape(width, height int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			hill := height*6/10 - (x-width/3)*(width-x)/(3*width) + (x%97)/20
			c := color.RGBA{uint8(120 + 100*y/height), uint8(170 + 60*y/height), 235, 255}
			if y > hill {
				c = color.RGBA{uint8(60 + 40*(y-hill)/height), uint8(120 - 50*(y-hill)/height), 70, 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	return img
}
