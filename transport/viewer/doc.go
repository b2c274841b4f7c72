// Package viewer draws what the registry decided, for people: a page with the slots as they stand, and of each slot its life as
// swim lanes, one lane a connection, in the order of the journal.
//
// The server draws, and only the server: [layout] turns entries into places, a template turns places into SVG. The script of the
// page hears of new decisions and asks for the drawing anew, so there is one layout, it is tested in Go, and a page without
// JavaScript shows the same. [Handler] serves the page, [HTML] writes it as a file that needs nothing beside it.
//
// What peers have sent (server-ids, versions, device names) reaches a page through html/template only, and the page runs no
// script but its own file: its Content-Security-Policy forbids all others.
package viewer
