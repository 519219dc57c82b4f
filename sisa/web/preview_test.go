package web

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/color/palette"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"cloakroom/sisa"
)

// quarters is an image whose quarters are red, green, blue and white, clockwise.
func quarters(width, height int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := color.RGBA{255, 0, 0, 255}
			switch right, low := x >= width/2, y >= height/2; {
			case right && low:
				c = color.RGBA{0, 0, 255, 255}
			case right:
				c = color.RGBA{0, 255, 0, 255}
			case low:
				c = color.RGBA{255, 255, 255, 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	return img
}

func jpegOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func pngOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// withOrientation puts EXIF data with an orientation into a JPEG.
func withOrientation(picture []byte, orientation uint16, order binary.AppendByteOrder, mark string) []byte {
	tiff := []byte(mark)
	tiff = order.AppendUint16(tiff, 42)
	tiff = order.AppendUint32(tiff, 8)
	tiff = order.AppendUint16(tiff, 2)
	for _, entry := range [][2]uint16{{0x0100, 7}, {orientationTag, orientation}} {
		tiff = order.AppendUint16(tiff, entry[0])
		tiff = order.AppendUint16(tiff, shortType)
		tiff = order.AppendUint32(tiff, 1)
		tiff = order.AppendUint16(tiff, entry[1])
		tiff = order.AppendUint16(tiff, 0)
	}
	segment := append([]byte("Exif\x00\x00"), tiff...)
	out := append([]byte{0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0, 0xff, 0xe1}, byte((len(segment)+2)>>8), byte(len(segment)+2))
	return append(append(out, segment...), picture[2:]...)
}

// corners names the colours in the four quarters, clockwise.
func corners(img image.Image) string {
	b := img.Bounds()
	var out strings.Builder
	for _, p := range [][2]int{{1, 1}, {3, 1}, {3, 3}, {1, 3}} {
		r, g, bl, _ := img.At(b.Min.X+p[0]*b.Dx()/4, b.Min.Y+p[1]*b.Dy()/4).RGBA()
		switch {
		case r > 0xc000 && g > 0xc000 && bl > 0xc000:
			out.WriteString("W")
		case r > 0xc000:
			out.WriteString("R")
		case g > 0xc000:
			out.WriteString("G")
		case bl > 0xc000:
			out.WriteString("B")
		default:
			out.WriteString("?")
		}
	}
	return out.String()
}

// withPreviews switches previews on and adds files.
func withPreviews(files map[string][]byte, types map[string]string) func(*stage, *Config) {
	return func(s *stage, cfg *Config) {
		cfg.Previews = true
		part := 20
		for name, content := range files {
			s.addFile(part, name, types[name], content)
			part++
		}
	}
}

var previewSource = regexp.MustCompile(`<img src="(\.\./p/[^"]+)"`)

// previewAddresses gives the addresses of the previews on the page.
func previewAddresses(s *stage) []string {
	s.t.Helper()
	base, err := url.Parse(s.page())
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, m := range previewSource.FindAllSubmatch(s.get(s.page()).body, -1) {
		to, err := base.Parse(string(m[1]))
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, to.String())
	}
	return out
}

func TestImagesHaveSmallPreviewsWhereTheOptionIsSet(t *testing.T) {
	off := newStage(t, func(s *stage, _ *Config) { s.addFile(20, "a.jpg", "image/jpeg", jpegOf(s.t, quarters(40, 30))) })
	if got := previewAddresses(off); len(got) != 0 {
		t.Errorf("previews without the option: %q", got)
	}
	ticket := off.site.signer.ticket(ticketPreview, sisa.TokenID(off.token), "20", testStart.Add(time.Minute))
	off.wantStatus(off.get(off.server.URL+strings.TrimPrefix(ticket.location("x"), "..")), http.StatusNotFound)

	s := newStage(t, withPreviews(map[string][]byte{"a.jpg": jpegOf(t, quarters(4000, 3000))}, map[string]string{"a.jpg": "image/jpeg"}))
	addresses := previewAddresses(s)
	if len(addresses) != 1 {
		t.Fatalf("addresses %q", addresses)
	}
	r := s.get(addresses[0])
	s.wantStatus(r, http.StatusOK)
	small, format, err := image.Decode(bytes.NewReader(r.body))
	if err != nil || format != "jpeg" || small.Bounds().Dx() != previewEdge || small.Bounds().Dy() != previewEdge*3/4 || corners(small) != "RGBW" {
		t.Errorf("%v: %s %v %s", err, format, small.Bounds(), corners(small))
	}
	if r.Header.Get("Content-Type") != "image/jpeg" || len(r.body) > 10_000 || !strings.Contains(r.Header.Get("Cache-Control"), "no-store") {
		t.Errorf("%d bytes, headers %v", len(r.body), r.Header)
	}
	if csp := r.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "img-src 'self'") {
		t.Errorf("policy %q", csp)
	}
	if n := len(s.links.recorded()); n != 0 {
		t.Errorf("%d downloads were counted", n)
	}
	// One address does not open the other.
	s.wantStatus(s.get(strings.Replace(addresses[0], "/p/", "/f/", 1)), http.StatusNotFound)
	s.links.set(func() { s.links.errs[s.token] = sisa.ErrNotFound })
	s.wantStatus(s.get(addresses[0]), http.StatusNotFound)
}

func TestPreviewIsOfTheContentWhateverTheTypeSays(t *testing.T) {
	var animated bytes.Buffer
	frame := image.NewPaletted(image.Rect(0, 0, 20, 20), palette.WebSafe)
	if err := gif.EncodeAll(&animated, &gif.GIF{Image: []*image.Paletted{frame, frame}, Delay: []int{1, 1}}); err != nil {
		t.Fatal(err)
	}
	clear := image.NewNRGBA(image.Rect(0, 0, 300, 300))
	for name, c := range map[string]struct {
		declared string
		content  []byte
		want     string // media type of the preview; "" for none
		offered  bool
	}{
		"a.png":     {"image/png", pngOf(t, quarters(10, 10)), "image/jpeg", true},
		"clear.png": {"image/png", pngOf(t, clear), "image/png", true},
		"a.gif":     {"image/gif", animated.Bytes(), "image/jpeg", true},
		"wrong.jpg": {"image/jpeg", pngOf(t, quarters(10, 10)), "image/jpeg", true},
		"by.jpeg":   {"application/octet-stream", jpegOf(t, quarters(10, 10)), "image/jpeg", true},
		"html.png":  {"image/png", []byte("<html><script>alert(1)</script>"), "", true},
		"svg.png":   {"image/png", []byte("<svg xmlns='http://www.w3.org/2000/svg'/>"), "", true},
		"cut.jpg":   {"image/jpeg", jpegOf(t, quarters(100, 100))[:300], "", true},
		"huge.png":  {"image/png", pngClaiming(t, 100_000, 100_000), "", true},
		"tall.png":  {"image/png", pngClaiming(t, 1, maxPreviewPixels+1), "", true},
		"a.pdf":     {"application/pdf", []byte("%PDF"), "", false},
		"a.svg":     {"image/svg+xml", []byte("<svg/>"), "", false},
	} {
		s := newStage(t, withPreviews(map[string][]byte{name: c.content}, map[string]string{name: c.declared}))
		addresses := previewAddresses(s)
		if (len(addresses) == 1) != c.offered {
			t.Errorf("%s: addresses %q", name, addresses)
		}
		if len(addresses) == 0 {
			continue
		}
		for range 2 { // the second comes from the cache
			r := s.get(addresses[0])
			if c.want == "" {
				s.wantStatus(r, http.StatusNotFound)
				continue
			}
			s.wantStatus(r, http.StatusOK)
			if got := http.DetectContentType(r.body); got != c.want || r.Header.Get("Content-Type") != c.want {
				t.Errorf("%s: %s, declared %s, want %s", name, got, r.Header.Get("Content-Type"), c.want)
			}
		}
	}
}

func TestImagesOfTooManyPixelsAreNotDecoded(t *testing.T) {
	for _, size := range [][2]uint32{{100_000, 100_000}, {1, maxPreviewPixels + 1}, {maxPreviewPixels + 1, 1}} {
		if _, err := shrink(bytes.NewReader(pngClaiming(t, size[0], size[1]))); !errors.Is(err, errNoPreview) {
			t.Errorf("%v: %v", size, err)
		}
	}
}

// pngClaiming is a PNG whose header says a size that its content does not have.
func pngClaiming(t *testing.T, width, height uint32) []byte {
	t.Helper()
	out := pngOf(t, image.NewGray(image.Rect(0, 0, 1, 1)))
	binary.BigEndian.PutUint32(out[16:], width)
	binary.BigEndian.PutUint32(out[20:], height)
	binary.BigEndian.PutUint32(out[29:], crcOf(out[12:29]))
	return out
}

func TestCameraOrientationIsFollowed(t *testing.T) {
	picture := jpegOf(t, quarters(64, 32))
	// What a viewer sees of RGBW (clockwise from the top left) stored so.
	want := []string{"RGBW", "GRWB", "BWRG", "WBGR", "RWBG", "WRGB", "BGRW", "GBWR"}
	for i, seen := range want {
		for mark, order := range map[string]binary.AppendByteOrder{"II": binary.LittleEndian, "MM": binary.BigEndian} {
			content := withOrientation(picture, uint16(i+1), order, mark)
			small, err := shrink(bytes.NewReader(content))
			if err != nil {
				t.Fatalf("orientation %d: %v", i+1, err)
			}
			img, err := jpeg.Decode(bytes.NewReader(small.content))
			if err != nil {
				t.Fatal(err)
			}
			if turned := i >= 4; corners(img) != seen || (img.Bounds().Dx() < img.Bounds().Dy()) != turned {
				t.Errorf("orientation %d, %s: %s %v, want %s", i+1, mark, corners(img), img.Bounds(), seen)
			}
		}
	}
	for name, segment := range map[string]string{
		"short": "Exif\x00\x00II", "far": "Exif\x00\x00II*\x00\xff\xff\xff\x7f\x00\x00", "none": "Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00",
		"cut": "Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff\x12\x01", "other": "http://ns.adobe.com/xap/1.0/",
	} {
		if got := exifOrientation([]byte(segment)); got != 0 {
			t.Errorf("%s: %d", name, got)
		}
	}
}

// stuck is content that never ends.
type stuck struct{ *bytes.Reader }

func (s stuck) Read(p []byte) (int, error) {
	if n, err := s.Reader.Read(p); err == nil {
		return n, nil
	}
	time.Sleep(10 * time.Millisecond)
	clear(p)
	return len(p), nil
}

func TestSlowImageIsGivenUpInTime(t *testing.T) {
	t.Parallel()
	picture := jpegOf(t, quarters(500, 500))
	began := time.Now()
	_, err := shrink(&patientReader{ReadSeeker: stuck{bytes.NewReader(picture[:2000])}, ctx: t.Context(), until: time.Now().Add(200 * time.Millisecond)})
	if took := time.Since(began); err == nil || took > 3*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}

func TestPreviewCacheIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	p := newPreviews()
	opened := 0
	picture := pngOf(t, quarters(10, 10))
	get := func(n int) {
		t.Helper()
		var hash [32]byte
		binary.BigEndian.PutUint32(hash[:], uint32(n))
		_, err := p.get(t.Context(), sisa.File{SHA256: hash}, func() (io.ReadSeekCloser, error) {
			opened++
			return struct {
				*bytes.Reader
				io.Closer
			}{bytes.NewReader(picture), io.NopCloser(nil)}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	get(0)
	get(0)
	if opened != 1 {
		t.Errorf("opened %d times", opened)
	}
	for n := 1; n < 100; n++ {
		p.keep([32]byte{1, byte(n)}, thumbnail{"image/png", make([]byte, previewCache/20)})
		get(0)
	}
	if opened != 1 {
		t.Error("what is used all the time was dropped")
	}
	if p.size > previewCache || len(p.byHash) != p.recent.Len() || p.recent.Len() > 21 {
		t.Errorf("%d bytes, %d entries", p.size, p.recent.Len())
	}
	_, err := p.get(t.Context(), sisa.File{SHA256: [32]byte{9}}, func() (io.ReadSeekCloser, error) { return nil, errors.New("away") })
	if err == nil || err.Error() != "away" {
		t.Errorf("%v", err)
	}
	if _, ok := p.cached([32]byte{9}); ok {
		t.Error("a failure of the store is remembered as one of the image")
	}
}

func TestPreviewsWaitForTheirTurnButNotForever(t *testing.T) {
	p := newPreviews()
	for range maxPreviewJobs {
		p.jobs <- struct{}{}
	}
	ctx, cancel := contextWithTimeout(t, 50*time.Millisecond)
	defer cancel()
	_, err := p.get(ctx, sisa.File{}, func() (io.ReadSeekCloser, error) { return nil, fmt.Errorf("opened without a turn") })
	if !errors.Is(err, ctx.Err()) || ctx.Err() == nil {
		t.Errorf("%v", err)
	}
}
