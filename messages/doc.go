// Package messages is what the actors of the relay say to each other.
//
// Every message is plain data: no pointer, channel, func, interface or error in it, so that any of them could be written
// to a file, replayed from one, or cross a network. There is one sealed interface a mailbox: [ToRegistry] is what the
// registry handles, [ToBinary] and [ToPhone] what the actors of connections handle. What each message means, who sends it, and
// what comes back is said once, beside its type.
//
// A message that carries a frame is lent: it goes by pointer, it and its bytes are the receiver's until it has handled the message,
// and no longer, and who queues it copies both. So one serves its sender for all its frames, and a frame costs no allocation. The
// others go by value.
//
// Read ids.go for the words, then claims.go for the conversation about a slot, phones.go for that about phones and their
// frames, and sockets.go for what a connection hears from its own socket.
package messages
