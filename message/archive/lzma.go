package archive

// LZMA, for the packed header of a 7z archive: the decoder of the specification
// (LZMA SDK, lzma-specification), whole in memory and bounded.

// Sizes of the models.
const (
	lzmaStates       = 12
	lzmaPosStatesMax = 16
	lzmaLenStates    = 4
	lzmaEndPos       = 14
	lzmaFullDist     = 1 << (lzmaEndPos / 2)
	lzmaAlignBits    = 4
	lzmaMatchMin     = 2
	lzmaHalf         = 1 << 10 // a probability of one half
)

// unpackLZMA gives the size bytes that in holds, packed with properties of five
// bytes. ok is false when it is broken.
func unpackLZMA(properties, in []byte, size int) (out []byte, ok bool) {
	if len(properties) < 5 || properties[0] >= 9*5*5 || len(in) < 5 || in[0] != 0 {
		return nil, false
	}
	lc, lp, pb := uint(properties[0]%9), uint(properties[0]/9%5), uint(properties[0]/45)
	if lc+lp > 4 {
		return nil, false // 7-Zip writes no more; the model would be large
	}
	z := lzma{in: in[5:], width: 0xffffffff, out: make([]byte, 0, size), lc: lc, lpMask: 1<<lp - 1, pbMask: 1<<pb - 1}
	for _, c := range in[1:5] {
		z.code = z.code<<8 | uint32(c)
	}
	z.literals = make([]uint16, 0x300<<(lc+lp))
	z.reset()
	for len(z.out) < size && !z.broken {
		z.step(size)
	}
	return z.out, !z.broken && len(z.out) == size
}

// lzma is a decoder under way.
type lzma struct {
	in          []byte
	width, code uint32 // of the range coder
	out         []byte
	broken      bool

	lc             uint
	lpMask, pbMask int
	state          int
	reps           [4]uint32 // distances of the last matches, less one

	literals         []uint16
	isMatch, isRep0l [lzmaStates * lzmaPosStatesMax]uint16
	isRep, isG0      [lzmaStates]uint16
	isG1, isG2       [lzmaStates]uint16
	slots            [lzmaLenStates][64]uint16
	distances        [1 + lzmaFullDist - lzmaEndPos]uint16
	align            [1 << lzmaAlignBits]uint16
	matchLen, repLen lzmaLength
}

// lzmaLength is the model of lengths.
type lzmaLength struct {
	choices  [2]uint16
	low, mid [lzmaPosStatesMax][8]uint16
	high     [256]uint16
}

func halves(models ...[]uint16) {
	for _, m := range models {
		for i := range m {
			m[i] = lzmaHalf
		}
	}
}

func (z *lzma) reset() {
	halves(z.literals, z.isMatch[:], z.isRep0l[:], z.isRep[:], z.isG0[:], z.isG1[:], z.isG2[:], z.distances[:], z.align[:])
	for i := range z.slots {
		halves(z.slots[i][:])
	}
	for _, l := range []*lzmaLength{&z.matchLen, &z.repLen} {
		halves(l.choices[:], l.high[:])
		for i := range l.low {
			halves(l.low[i][:], l.mid[i][:])
		}
	}
}

// shift takes in a byte when the range is small.
func (z *lzma) shift() {
	if z.width >= 1<<24 {
		return
	}
	if len(z.in) == 0 {
		z.broken = true
		return
	}
	z.width <<= 8
	z.code = z.code<<8 | uint32(z.in[0])
	z.in = z.in[1:]
}

// bit decodes a bit by its model.
func (z *lzma) bit(p *uint16) int {
	bound := (z.width >> 11) * uint32(*p)
	bit := 0
	if z.code < bound {
		z.width = bound
		*p += (1<<11 - *p) >> 5
	} else {
		z.width -= bound
		z.code -= bound
		*p -= *p >> 5
		bit = 1
	}
	z.shift()
	return bit
}

// direct decodes bits without a model.
func (z *lzma) direct(n int) (v int) {
	for range n {
		z.width >>= 1
		bit := 0
		if z.code >= z.width {
			z.code -= z.width
			bit = 1
		}
		z.shift()
		v = v<<1 | bit
	}
	return v
}

// tree decodes n bits, the highest first.
func (z *lzma) tree(models []uint16, n int) int {
	m := 1
	for range n {
		m = m<<1 | z.bit(&models[m])
	}
	return m - 1<<n
}

// reverse decodes n bits, the lowest first; the models begin at index 1.
func (z *lzma) reverse(models []uint16, n int) (v int) {
	m := 1
	for i := range n {
		bit := z.bit(&models[m])
		m = m<<1 | bit
		v |= bit << i
	}
	return v
}

func (z *lzma) length(l *lzmaLength, posState int) int {
	if z.bit(&l.choices[0]) == 0 {
		return z.tree(l.low[posState][:], 3)
	}
	if z.bit(&l.choices[1]) == 0 {
		return 8 + z.tree(l.mid[posState][:], 3)
	}
	return 16 + z.tree(l.high[:], 8)
}

// step decodes a literal or a match.
func (z *lzma) step(size int) {
	posState := len(z.out) & z.pbMask
	at := z.state*lzmaPosStatesMax + posState
	if z.bit(&z.isMatch[at]) == 0 {
		z.literal()
		return
	}
	n := 0
	if z.bit(&z.isRep[z.state]) == 0 {
		z.reps[3], z.reps[2], z.reps[1] = z.reps[2], z.reps[1], z.reps[0]
		n = z.length(&z.matchLen, posState)
		z.state = after(z.state, 7, 10)
		z.reps[0] = z.distance(n)
	} else {
		if z.bit(&z.isG0[z.state]) == 0 {
			if z.bit(&z.isRep0l[at]) == 0 {
				z.state = after(z.state, 9, 11)
				z.repeat(1, size)
				return
			}
		} else {
			z.older()
		}
		n = z.length(&z.repLen, posState)
		z.state = after(z.state, 8, 11)
	}
	z.repeat(n+lzmaMatchMin, size)
}

// after is the next state after a match: one for after a literal, one for others.
func after(state, literal, match int) int {
	if state < 7 {
		return literal
	}
	return match
}

// older takes an earlier distance to the front.
func (z *lzma) older() {
	n := 1
	if z.bit(&z.isG1[z.state]) == 1 {
		n = 2 + z.bit(&z.isG2[z.state])
	}
	distance := z.reps[n]
	copy(z.reps[1:n+1], z.reps[:n])
	z.reps[0] = distance
}

func (z *lzma) repeat(n, size int) {
	// The end mark is a distance that reaches back too far, and comes too early.
	if uint64(z.reps[0]) >= uint64(len(z.out)) || len(z.out)+n > size {
		z.broken = true
		return
	}
	from := len(z.out) - int(z.reps[0]) - 1
	for i := range n {
		z.out = append(z.out, z.out[from+i])
	}
}

func (z *lzma) literal() {
	previous := byte(0)
	if len(z.out) > 0 {
		previous = z.out[len(z.out)-1]
	}
	state := (len(z.out)&z.lpMask)<<z.lc + int(previous)>>(8-z.lc)
	models := z.literals[0x300*state:][:0x300]
	symbol := 1
	if z.state >= 7 {
		if uint64(z.reps[0]) >= uint64(len(z.out)) {
			z.broken = true
			return
		}
		match := int(z.out[len(z.out)-int(z.reps[0])-1])
		for symbol < 0x100 {
			bit := match >> 7 & 1
			match <<= 1
			decoded := z.bit(&models[(1+bit)<<8+symbol])
			symbol = symbol<<1 | decoded
			if bit != decoded {
				break
			}
		}
	}
	for symbol < 0x100 {
		symbol = symbol<<1 | z.bit(&models[symbol])
	}
	z.out = append(z.out, byte(symbol))
	switch {
	case z.state < 4:
		z.state = 0
	case z.state < 10:
		z.state -= 3
	default:
		z.state -= 6
	}
}

// distance decodes how far back a match of length n is, less one.
func (z *lzma) distance(n int) uint32 {
	slot := z.tree(z.slots[min(n, lzmaLenStates-1)][:], 6)
	if slot < 4 {
		return uint32(slot)
	}
	bits := slot>>1 - 1
	distance := uint32(2|slot&1) << bits
	if slot < lzmaEndPos {
		return distance + uint32(z.reverse(z.distances[int(distance)-slot:], bits))
	}
	return distance + uint32(z.direct(bits-lzmaAlignBits))<<lzmaAlignBits + uint32(z.reverse(z.align[:], lzmaAlignBits))
}
