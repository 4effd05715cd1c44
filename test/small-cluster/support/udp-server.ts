// Answers each datagram that asks something, as the pods' web servers do: "ask-TEXT" is
// answered with "answer-TEXT NAME PEER". Says when it listens.
//
//   bun test/small-cluster/support/udp-server.ts NAME PORT
const [name = "", port = ""] = process.argv.slice(2);
const listening = Bun.udpSocket({
  port: Number(port),
  socket: {
    data(socket, message, peerPort, peer) {
      const [, text] = /^ask-(\S+)/.exec(message.toString()) ?? [];
      if (text !== undefined) socket.send(`answer-${text} ${name} ${peer}\n`, peerPort, peer);
    },
  },
});
void listening.then(() => console.error("listening"));
