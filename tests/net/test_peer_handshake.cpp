// The handshake as bytes, without sockets.
#include "net/peer_handshake.hpp"

#include <algorithm>

#include "tests/catch.hpp"

using namespace collie;

namespace {

constexpr PeerKey key = {1, 2, 3}, other_key = {1, 2, 4};

PeerRequest request_of(const std::string& version = "1.0") {
  PeerRequest request;
  request.kind = PeerKind::trainer;
  request.process = 4711;
  request.identity = {7};
  request.host = "here";
  request.run = "quickstart";
  request.version = version;
  return request;
}

PeerVerdict welcome_everybody(const PeerRequest&) {
  return {PeerAnswer::welcome, ""};
}

// Everything that both said to each other, of which `change` may change one frame (by its number) on its way.
struct Talk {
  using Change = std::function<void(int frame, PeerBytes& bytes)>;

  Talk(
      const PeerKey& client_key, const PeerKey& server_key, PeerRequest request = request_of(),
      ServerHandshake::Admit admit = welcome_everybody, const Change& change = [](int, PeerBytes&) {})
      : client(client_key, std::move(request)), server(server_key, "1.0", std::move(admit)) {
    const auto carried = [&](PeerBytes bytes) {
      change(frames++, bytes);
      return bytes;
    };
    PeerBytes to_server = carried(client.hello());
    while (server.wants() > 0 && !to_server.empty()) {
      const PeerBytes to_client = carried(server.take(to_server));
      to_server.clear();
      if (client.wants() > 0) to_server = carried(client.take(to_client));
    }
  }

  ClientHandshake client;
  ServerHandshake server;
  int frames = 0;
};

}  // namespace

TEST_CASE("two that know the same key let each other in, and who listens hears who comes") {
  const Talk talk(key, key);
  CHECK(talk.server.welcome());
  CHECK(talk.client.wants() == 0);
  CHECK(talk.client.verdict().answer == PeerAnswer::welcome);
  const PeerRequest &heard = talk.server.request(), said = request_of();
  CHECK(heard.kind == said.kind);
  CHECK(heard.process == said.process);
  CHECK(heard.identity == said.identity);
  CHECK(heard.host == said.host);
  CHECK(heard.run == said.run);
  CHECK(heard.version == said.version);
}

TEST_CASE("with another key neither lets the other in, and nothing is believed") {
  bool asked = false;
  const Talk talk(key, other_key, request_of(), [&](const PeerRequest&) {
    asked = true;
    return PeerVerdict{PeerAnswer::welcome, ""};
  });
  CHECK_FALSE(talk.server.welcome());
  CHECK(talk.server.request().process == 0);
  CHECK(talk.client.verdict().answer == PeerAnswer::stranger);
  CHECK_FALSE(asked);
}

TEST_CASE("a refusal and its reason come to who knows the key") {
  const Talk talk(key, key, request_of(), [](const PeerRequest&) {
    return PeerVerdict{PeerAnswer::refused, "is busy"};
  });
  CHECK_FALSE(talk.server.welcome());
  CHECK(talk.client.verdict().answer == PeerAnswer::refused);
  CHECK(talk.client.verdict().reason == "is busy");
}

TEST_CASE("another version is refused with both versions, whether the keys are the same or not") {
  for (const PeerKey& mine : {key, other_key}) {
    const Talk talk(mine, key, request_of("99.0"));
    CHECK_FALSE(talk.server.welcome());
    CHECK(talk.client.verdict().answer != PeerAnswer::welcome);
    CHECK(talk.client.verdict().reason == "is collie-engine 1.0, this is 99.0; both must be the same");
  }
}

TEST_CASE("no byte of a handshake can be changed on its way") {
  const int frames = Talk(key, key).frames;
  REQUIRE(frames == 5);  // the last is empty: the client has nothing more to say
  for (int frame = 0; frame < 4; ++frame)
    for (size_t byte = 0; byte < largest_peer_frame; ++byte) {
      bool there = false;
      const Talk talk(key, key, request_of(), welcome_everybody, [&](int number, PeerBytes& bytes) {
        if (number != frame || byte >= bytes.size()) return;
        there = true;
        bytes[byte] ^= 0x10;
      });
      if (!there) break;
      INFO("byte " << byte << " of frame " << frame);
      // The last word is the server's: it has let the client in, which knows better.
      CHECK(talk.server.welcome() == (frame == 3));
      CHECK(talk.client.verdict().answer != PeerAnswer::welcome);
    }
}

TEST_CASE("what was said in one handshake is of no use in another") {
  std::vector<PeerBytes> said;
  Talk(key, key, request_of(), welcome_everybody, [&](int, PeerBytes& bytes) { said.push_back(bytes); });
  ServerHandshake server(key, "1.0", welcome_everybody);
  server.take(said[0]);
  server.take(said[2]);
  CHECK_FALSE(server.welcome());
  ClientHandshake client(key, request_of());
  client.hello();
  client.take(said[1]);
  client.take(said[3]);
  CHECK(client.verdict().answer == PeerAnswer::stranger);
}

TEST_CASE("who says something else than hello is not listened to any longer") {
  ServerHandshake server(key, "1.0", welcome_everybody);
  PeerBytes words(server.wants(), 'A');
  const PeerBytes answer = server.take(words);
  CHECK(answer.size() <= words.size());  // no amplifier
  CHECK(server.wants() == 0);
  CHECK_FALSE(server.welcome());
  ClientHandshake client(key, request_of());
  client.hello();
  client.take(PeerBytes(client.wants(), 'A'));
  CHECK(client.verdict().answer == PeerAnswer::other_protocol);
}

TEST_CASE("texts that are too long are cut off, and no control character comes through") {
  PeerRequest request = request_of();
  request.run = std::string(1'000, 'r');
  request.host = "a\x1b[2Jb\n";
  const Talk talk(key, key, request, [](const PeerRequest&) {
    return PeerVerdict{PeerAnswer::refused, std::string(1'000, 'x')};
  });
  CHECK(talk.server.request().run == std::string(64, 'r'));
  CHECK(talk.server.request().host == "a?[2Jb?");
  CHECK(talk.client.verdict().reason == std::string(216, 'x'));
}
