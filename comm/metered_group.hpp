// A group that counts what a rank communicates, for the run's summary.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "comm/group_decorator.hpp"

namespace collie {

// One rank's traffic, of one kind of call or of all. Bytes are counted by what the operation is, not by how
// it is done (comm/volume.hpp has the formulas).
struct Traffic {
  double seconds = 0;          // inside calls, waiting for other ranks included
  int64_t bytes = 0;           // this rank had to send to others
  int64_t received_bytes = 0;  // this rank had to receive
  int64_t calls = 0;

  Traffic& operator+=(const Traffic& other);
};

// Any thread may read the counts while calls go on. A call that throws counts with its seconds alone.
class MeteredGroup : public comm::GroupDecorator {
 public:
  using GroupDecorator::GroupDecorator;

  // The traffic since the beginning, by name ("all_reduce_sum", ..., "barrier"), of the operations that were
  // called.
  std::map<std::string, Traffic> traffic() const;
  Traffic total() const;

 private:
  void around(const comm::Call& call, const std::function<void()>& forward) override;
  void count(const comm::Call& call, const Traffic& traffic);

  mutable std::mutex mutex_;
  std::map<std::string, Traffic> traffic_;
};

}  // namespace collie
