package web

// Small versions of images: which files have one, how it is answered, and the
// bounds of the work that strangers cause by it.

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"cloakroom/sisa"
)

const (
	maxPreviewSource = 24 << 20 // bytes of an image that is decoded; cameras make 20 MB
	// maxPreviewPixels bounds memory: Go's JPEG decoder takes up to 15 bytes a
	// pixel for a progressive image, so 450 MB at worst for each of maxPreviewJobs.
	maxPreviewPixels = 30_000_000
	maxPreviewJobs   = 2               // images decoded at once
	previewTime      = 5 * time.Second // of reading an image
	previewWait      = 10 * time.Second
	previewEdge      = 216     // pixels of the longer side: 72 on the page, on screens of 3 per pixel
	previewCache     = 8 << 20 // bytes of small images that are kept
	previewOverhead  = 200     // bytes that a cache entry takes beside its content
	jpegQuality      = 80
	sniffBytes       = 512 // what http.DetectContentType looks at
	readPiece        = 4 << 10
)

// imageFormat decodes one kind of image.
type imageFormat struct {
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
}

var imageFormats = map[string]imageFormat{
	"image/jpeg": {jpeg.DecodeConfig, jpeg.Decode},
	"image/png":  {png.DecodeConfig, png.Decode},
	"image/gif":  {gif.DecodeConfig, gif.Decode}, // its first frame
}

// previewable tells whether a preview is worth trying; the content decides later.
func previewable(f sisa.File) bool {
	if f.Size <= 0 || f.Size > maxPreviewSource {
		return false
	}
	mediaType, _ := parseType(f.Type)
	if _, ok := imageFormats[mediaType]; ok {
		return true
	}
	return iconOf(f.Name, f.Type) == iconImage && (mediaType == opaqueType || mediaType == "")
}

var (
	errNoPreview   = errors.New("no preview")
	errPreviewSlow = errors.New("the image took too long to read")
)

// thumbnail is a small image; an empty one stands for "this file has none".
type thumbnail struct {
	mediaType string
	content   []byte
}

// previews makes thumbnails and keeps the last ones.
type previews struct {
	jobs chan struct{} // one for each image being decoded

	mu     sync.Mutex
	size   int // bytes
	recent *list.List
	byHash map[[32]byte]*list.Element
}

type cachedThumbnail struct {
	hash [32]byte
	thumbnail
}

func newPreviews() *previews {
	return &previews{jobs: make(chan struct{}, maxPreviewJobs), recent: list.New(), byHash: map[[32]byte]*list.Element{}}
}

// servePreview answers with a small version of an image.
func (s *Site) servePreview(x *exchange, file sisa.File) {
	if s.previews == nil || !previewable(file) {
		s.notice(x, http.StatusNotFound, noteNothing)
		return
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), previewWait)
	defer cancel()
	small, err := s.previews.get(ctx, file, func() (io.ReadSeekCloser, error) { return s.open(ctx, file) })
	switch {
	case err == nil && len(small.content) > 0:
		x.body(http.StatusOK, small.mediaType, small.content)
	case err == nil:
		s.notice(x, http.StatusNotFound, noteNothing)
	case errors.Is(err, context.DeadlineExceeded):
		x.Header().Set("Retry-After", strconv.Itoa(int(previewWait.Seconds())))
		s.notice(x, http.StatusServiceUnavailable, noteBusy)
	default:
		s.fail(x, blobStatus(err), err)
	}
}

// get gives the thumbnail of a file. What cannot be decoded gives an empty one;
// an error is a failure of the store, or ctx's end while waiting for a turn.
func (p *previews) get(ctx context.Context, file sisa.File, open func() (io.ReadSeekCloser, error)) (thumbnail, error) {
	if t, ok := p.cached(file.SHA256); ok {
		return t, nil
	}
	select {
	case p.jobs <- struct{}{}:
		defer func() { <-p.jobs }()
	case <-ctx.Done():
		return thumbnail{}, ctx.Err()
	}
	if t, ok := p.cached(file.SHA256); ok { // made while we waited
		return t, nil
	}
	content, err := open()
	if err != nil {
		return thumbnail{}, err
	}
	defer content.Close()
	t, err := shrink(&patientReader{ReadSeeker: content, ctx: ctx, until: time.Now().Add(previewTime)})
	if ctx.Err() != nil {
		return thumbnail{}, ctx.Err() // the visitor left: says nothing about the image
	}
	if err != nil {
		t = thumbnail{}
	}
	p.keep(file.SHA256, t)
	return t, nil
}

func (p *previews) cached(hash [32]byte) (thumbnail, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.byHash[hash]
	if !ok {
		return thumbnail{}, false
	}
	p.recent.MoveToFront(e)
	return e.Value.(cachedThumbnail).thumbnail, true
}

func (p *previews) keep(hash [32]byte, t thumbnail) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.byHash[hash]; ok {
		return
	}
	p.byHash[hash] = p.recent.PushFront(cachedThumbnail{hash, t})
	p.size += len(t.content) + previewOverhead
	for p.size > previewCache {
		last := p.recent.Remove(p.recent.Back()).(cachedThumbnail)
		delete(p.byHash, last.hash)
		p.size -= len(last.content) + previewOverhead
	}
}

// patientReader ends a decoder that takes too long, at its next read: decoders
// have no context. Small pieces keep it from working long between two reads.
type patientReader struct {
	io.ReadSeeker
	ctx   context.Context
	until time.Time
}

func (r *patientReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if time.Now().After(r.until) {
		return 0, errPreviewSlow
	}
	return r.ReadSeeker.Read(p[:min(len(p), readPiece)])
}

// shrink decodes an image, if its content is one of the formats and it is not
// too large, and makes a small one of it.
func shrink(content io.ReadSeeker) (thumbnail, error) {
	head := make([]byte, sniffBytes)
	n, err := io.ReadFull(content, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return thumbnail{}, fmt.Errorf("read image: %w", err)
	}
	mediaType := http.DetectContentType(head[:n])
	format, ok := imageFormats[mediaType]
	if !ok {
		return thumbnail{}, fmt.Errorf("%w: the content is %s", errNoPreview, mediaType)
	}
	orientation := 1
	if mediaType == "image/jpeg" {
		if err := rewind(content); err != nil {
			return thumbnail{}, err
		}
		orientation = jpegOrientation(content)
	}
	if err := rewind(content); err != nil {
		return thumbnail{}, err
	}
	size, err := format.config(content)
	if err != nil {
		return thumbnail{}, fmt.Errorf("read image: %w", err)
	}
	if size.Width <= 0 || size.Height <= 0 || size.Width > maxPreviewPixels/size.Height {
		return thumbnail{}, fmt.Errorf("%w: %d x %d pixels", errNoPreview, size.Width, size.Height)
	}
	if err := rewind(content); err != nil {
		return thumbnail{}, err
	}
	large, err := format.decode(content)
	if err != nil {
		return thumbnail{}, fmt.Errorf("decode image: %w", err)
	}
	return encode(scale(large, orientation))
}

func rewind(content io.Seeker) error {
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read image: %w", err)
	}
	return nil
}

// encode writes JPEG, or PNG where something shines through.
func encode(small *image.RGBA) (thumbnail, error) {
	var out bytes.Buffer
	var err error
	t := thumbnail{mediaType: "image/png"}
	if small.Opaque() {
		t.mediaType = "image/jpeg"
		err = jpeg.Encode(&out, small, &jpeg.Options{Quality: jpegQuality})
	} else {
		err = png.Encode(&out, small)
	}
	t.content = out.Bytes()
	return t, err
}
