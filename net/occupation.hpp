// The trainer that a node works for; it is one at a time. Even a connected second trainer would disturb the
// first, because messages between nodes may then be routed through either.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "net/peer_handshake.hpp"

namespace collie {

class Occupation {
 public:
  struct Holder;
  // The node belongs to the holder as long as somebody keeps this pointer.
  using Hold = std::shared_ptr<Holder>;

  // Claims the node for a trainer that has proved itself over `socket`; nothing of the socket is kept. If the
  // node belongs to another process, the verdict names that process. If that process's connection has ended
  // but its ranks have not yet, the verdict says that the node is soon free.
  struct Claim {
    PeerVerdict verdict;
    Hold hold;  // null unless welcome
  };
  Claim claim(const PeerRequest& request, int socket);

  // Whether a trainer has been here for some seconds. The other processes of its run have joined in that
  // time.
  bool is_settled() const;

  // The pointer that a run's ranks keep; null if no trainer is connected.
  Hold current() const;

 private:
  mutable std::mutex mutex_;
  std::weak_ptr<Holder> holder_;
};

}  // namespace collie
