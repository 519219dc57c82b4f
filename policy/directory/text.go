package directory

// Where a snapshot keeps its many small texts: without a pointer to each, which
// would cost more than the text and the time of the garbage collector.

import (
	"encoding/binary"
	"errors"
	"strings"
)

const (
	// blockSize is the size of one block of text, in bytes; a text lies in one block.
	blockSize = 1 << blockBits
	blockBits = 20
	// maxText bounds one text, in octets.
	maxText = 4096
	// maxBlocks keeps a textRef within 32 bits: 4 GB of text.
	maxBlocks = 1 << (32 - blockBits)
)

var errTextFull = errors.New("the directory holds more than 4 GB of text")

// texts holds strings, each behind its length as a varint.
type texts struct {
	blocks  []string // full ones; the last one is current's content
	current *strings.Builder
}

// textRef is the place of a text: block and offset.
type textRef uint32

// add keeps a copy of s, which is no longer than maxText.
func (t *texts) add(s string) (textRef, error) {
	need := len(s) + binary.MaxVarintLen16
	if t.current == nil || t.current.Len()+need > blockSize {
		if len(t.blocks) == maxBlocks {
			return 0, errTextFull
		}
		// The Builder never writes over what it gave out: old blocks stay as they are.
		t.current = new(strings.Builder)
		t.current.Grow(blockSize)
		t.blocks = append(t.blocks, "")
	}
	last := len(t.blocks) - 1
	ref := textRef(last<<blockBits | t.current.Len())
	var length [binary.MaxVarintLen16]byte
	t.current.Write(length[:binary.PutUvarint(length[:], uint64(len(s)))])
	t.current.WriteString(s)
	t.blocks[last] = t.current.String()
	return ref, nil
}

// get is the text at ref; it takes no memory.
func (t *texts) get(ref textRef) string {
	s := t.blocks[ref>>blockBits][ref&(blockSize-1):]
	n := int(s[0])
	if n < 0x80 {
		return s[1 : 1+n]
	}
	n = n&0x7f | int(s[1])<<7 // maxText fits in two bytes of 7 bits
	return s[2 : 2+n]
}

// interned numbers texts that many users share, such as departments.
type interned struct {
	values []string
	number map[string]uint32
}

func newInterned() interned {
	return interned{values: []string{""}, number: map[string]uint32{"": 0}}
}

// add returns the number of s; it keeps a copy of a new one.
func (n *interned) add(s string) uint32 {
	if at, ok := n.number[s]; ok {
		return at
	}
	s = strings.Clone(s)
	at := uint32(len(n.values))
	n.values = append(n.values, s)
	n.number[s] = at
	return at
}
