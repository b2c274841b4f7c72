// Package envelope reads and writes what stands around a frame between the relay and a binary (docs/protocol.md 3).
//
//	phone:   frame                                          Frame
//	         frame -> {"conn_id":"c","frame": frame }       Head, Tail
//	         gone  -> {"conn_id":"c","close_code":4001}     Notice
//	binary:  {"conn_id":"c","frame": frame } -> frame       Parse
//
// A frame crosses byte for byte. So nothing here builds what it reads: a scanner walks over the text by the grammar of RFC 8259
// and notes where the values of an envelope begin and end. It takes one pass, and no memory: it does not recurse, and what
// is open costs it a bit a level. A peer can therefore nest as deep as its message is long, and gains nothing by it.
//
// What is judged is grammar and UTF-8. A name given twice, a number too big for any machine, a surrogate's escape without its
// other half: RFC 8259 allows them, and what they mean is between the binary and the phone.
package envelope
