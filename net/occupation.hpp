// Who a node works for: one trainer at a time. A second one would disturb the first even by being connected,
// as messages between nodes may then take their way through either.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "net/peer_handshake.hpp"

namespace collie {

class Occupation {
 public:
  struct Holder;
  // The node is the holder's as long as somebody keeps this.
  using Hold = std::shared_ptr<Holder>;

  // For a trainer that has proved itself, over `socket`, of which nothing is kept. Where the node is another
  // process's, the verdict says whose; where that one's connection has ended and its ranks have not yet, that
  // the node is soon free.
  struct Claim {
    PeerVerdict verdict;
    Hold hold;  // null unless welcome
  };
  Claim claim(const PeerRequest& request, int socket);

  // Whether a trainer has been here for some seconds, in which the others of its run have come.
  bool is_settled() const;

  // What a run's ranks keep; null where no trainer is connected.
  Hold current() const;

 private:
  mutable std::mutex mutex_;
  std::weak_ptr<Holder> holder_;
};

}  // namespace collie
