package directory

// All users of a file in a compact form that is built once and then only read.

import (
	"hash/maphash"
	"slices"
	"strings"
)

// snapshot holds the users and a hash table of their addresses. Apart from
// blocks of text and what users share it holds no pointers.
type snapshot struct {
	text        texts
	users       []record  // in the order of the file
	addresses   []address // of the first user, then of the second …; each user's primary one first
	slots       []uint32  // hash table, linear probing: an index into addresses
	tags        []uint8   // beside slots: 0 is free, else some bits of the hash, so that few others are compared
	seed        maphash.Seed
	departments []string
	systems     []string
	groups      [][]string // the sets of groups that occur
}

// record is one user. first+count of the next user's record end its addresses.
type record struct {
	first      uint32 // index into addresses
	name       textRef
	groups     uint32
	department uint32
	system     uint32
	line       uint32 // where the file has it
}

type address struct {
	text textRef
	user uint32
}

// find gives the index of the user who has a normal address.
func (s *snapshot) find(normal string) (uint32, bool) {
	slot, found := s.slot(normal)
	if !found {
		return 0, false
	}
	return s.addresses[s.slots[slot]].user, true
}

// slot is where the table has an address, or where it would go. The table is
// never full.
func (s *snapshot) slot(normal string) (at uint64, found bool) {
	i, tag := s.home(normal)
	mask := uint64(len(s.slots) - 1)
	for ; s.tags[i] != 0; i = (i + 1) & mask {
		if s.tags[i] == tag && s.text.get(s.addresses[s.slots[i]].text) == normal {
			return i, true
		}
	}
	return i, false
}

// home is where the search for an address begins, and its tag.
func (s *snapshot) home(normal string) (uint64, uint8) {
	hash := maphash.String(s.seed, normal)
	return hash & uint64(len(s.slots)-1), uint8(hash>>56) | 1
}

// lookup finds the user of an address as it was asked.
func (s *snapshot) lookup(asked, delimiters string) *User {
	normal, err := Normalize(asked)
	if err != nil {
		return nil
	}
	if at, ok := s.find(normal); ok {
		return s.user(at)
	}
	if end, domain, ok := cutSubaddress(normal, delimiters); ok {
		// The sum does not escape, and so lives on the stack while it is short.
		if at, ok := s.find(normal[:end] + normal[domain:]); ok {
			return s.user(at)
		}
	}
	return nil
}

// user writes out the user at an index.
func (s *snapshot) user(at uint32) *User {
	r := s.users[at]
	end := uint32(len(s.addresses))
	if int(at)+1 < len(s.users) {
		end = s.users[at+1].first
	}
	whole := new(userAndAlias)
	u := &whole.User
	u.Address = s.text.get(s.addresses[r.first].text)
	u.Groups = s.groups[r.groups]
	u.Department = s.departments[r.department]
	u.System = s.systems[r.system]
	if r.name != noName {
		u.Name = s.text.get(r.name)
	}
	if aliases := s.addresses[r.first+1 : end]; len(aliases) > 0 {
		u.Aliases = whole.alias[:]
		if len(aliases) > 1 {
			u.Aliases = make([]string, len(aliases))
		}
		for i, a := range aliases {
			u.Aliases[i] = s.text.get(a.text)
		}
	}
	return u
}

// userAndAlias is a User with the place of an alias: most users take one piece
// of memory then.
type userAndAlias struct {
	User
	alias [1]string
}

// noName is a place no text begins at, for users without a name: the last
// byte of the last block.
const noName = ^textRef(0)

// builder makes a snapshot of users who come one by one.
type builder struct {
	snapshot
	problems    *problems
	departments interned
	systems     interned
	groupSets   interned // groups, sorted, joined by groupSeparator
	scratch     []string
}

// groupSeparator cannot be in a group's name: control characters are refused.
const groupSeparator = "\x00"

// firstSlots is the size of the table to begin with; a power of two.
const firstSlots = 1024

func newBuilder(ps *problems, like sizes) *builder {
	b := &builder{problems: ps, departments: newInterned(), systems: newInterned(), groupSets: newInterned()}
	b.seed = maphash.MakeSeed()
	slots := firstSlots
	for like.addresses > fill(slots) {
		slots *= 2
	}
	b.slots, b.tags = make([]uint32, slots), make([]uint8, slots)
	b.users, b.addresses = make([]record, 0, like.users), make([]address, 0, like.addresses)
	b.groups = [][]string{nil}
	return b
}

// sizes is how much a snapshot is expected to hold: what the last one did.
// Then nothing has to grow, which would take twice the memory for a while.
type sizes struct{ users, addresses int }

func (s *snapshot) sizes() sizes {
	if s == nil {
		return sizes{}
	}
	return sizes{len(s.users) + len(s.users)/spare, len(s.addresses) + len(s.addresses)/spare}
}

// spare is the part by which users may have become more without growth.
const spare = 64

// fill is how many addresses a table of a size takes: linear probing stays
// short below that.
func fill(slots int) int { return slots * 2 / 3 }

// add takes one user. What is wrong with it becomes a problem; the texts of e
// are copied.
func (b *builder) add(e *entry) {
	for _, v := range e.all() {
		if reason := badText(v.text); reason != "" {
			b.problems.add(v.place, "%s", reason)
			return
		}
	}
	if e.address.text == "" {
		b.problems.add(e.place, "this user has no address")
		return
	}
	r := record{
		first:      uint32(len(b.addresses)),
		name:       noName,
		groups:     b.groupSet(e.groups),
		department: b.departments.add(e.department.text),
		system:     b.systems.add(e.system.text),
		line:       uint32(e.place.line),
	}
	good := b.addAddress(e.address)
	for _, alias := range e.aliases {
		good = b.addAddress(alias) && good
	}
	// With a problem the snapshot will not be used, but addresses that went in
	// stay, so that later users who have them too are told.
	if !good && int(r.first) == len(b.addresses) {
		return
	}
	if e.name.text != "" {
		ref, err := b.text.add(e.name.text)
		if err != nil {
			b.problems.add(e.name.place, "%v", err)
			return
		}
		r.name = ref
	}
	b.users = append(b.users, r)
}

// addAddress enters an address of the user that is about to be added.
func (b *builder) addAddress(v value) bool {
	normal, err := Normalize(v.text)
	if err != nil {
		b.problems.add(v.place, "%q: %v", v.text, err)
		return false
	}
	user := uint32(len(b.users))
	at, found := b.slot(normal)
	if found {
		a := b.addresses[b.slots[at]]
		if a.user == user {
			return true // an alias that repeats another address of its own user
		}
		first := b.users[a.user]
		b.problems.add(v.place, "%s belongs to the user in line %d already (%s)",
			normal, first.line, b.text.get(b.addresses[first.first].text))
		return false
	}
	ref, err := b.text.add(normal)
	if err != nil {
		b.problems.add(v.place, "%v", err)
		return false
	}
	_, tag := b.home(normal)
	b.slots[at], b.tags[at] = uint32(len(b.addresses)), tag
	b.addresses = append(b.addresses, address{ref, user})
	if len(b.addresses) > fill(len(b.slots)) {
		b.grow()
	}
	return true
}

// grow doubles the hash table.
func (b *builder) grow() {
	size := 2 * len(b.slots)
	b.slots, b.tags = make([]uint32, size), make([]uint8, size)
	for n, a := range b.addresses {
		i, tag := b.home(b.text.get(a.text))
		for b.tags[i] != 0 {
			i = (i + 1) & uint64(size-1)
		}
		b.slots[i], b.tags[i] = uint32(n), tag
	}
}

// groupSet is the number of a set of groups.
func (b *builder) groupSet(groups []value) uint32 {
	if len(groups) == 0 {
		return 0
	}
	b.scratch = b.scratch[:0]
	for _, g := range groups {
		b.scratch = append(b.scratch, g.text)
	}
	slices.Sort(b.scratch)
	b.scratch = slices.Compact(b.scratch)
	key := b.scratch[0]
	if len(b.scratch) > 1 {
		key = strings.Join(b.scratch, groupSeparator)
	}
	at := b.groupSets.add(key)
	if int(at) == len(b.groups) {
		b.groups = append(b.groups, strings.Split(b.groupSets.values[at], groupSeparator))
	}
	return at
}

// finish gives the snapshot; nothing may be added any more.
func (b *builder) finish() *snapshot {
	s := b.snapshot
	s.users, s.addresses = fitted(s.users), fitted(s.addresses)
	s.departments, s.systems = b.departments.values, b.systems.values
	return &s
}

// fitted gives s without more room behind it than a quarter of it.
func fitted[T any](s []T) []T {
	if cap(s)-len(s) > len(s)/4 {
		return append(make([]T, 0, len(s)), s...)
	}
	return slices.Clip(s)
}
