// What a configuration says of each question: who may ask, what is answered here, whom the rest is asked of.
// One immutable object, published by one store, so that nobody sees some of it without the rest; what is as
// it was, it shares with the one before.
//
// Threads: any. A reader on an lcore takes the object once a burst, is online for RCU meanwhile, and leaves
// the reference counts alone: these are control's and its helper's.
#pragma once

#include <memory>
#include <utility>

#include "cache/replaceable.hpp"
#include "dataplane/access.hpp"
#include "dataplane/local_names.hpp"
#include "dataplane/routes.hpp"

namespace millrace::dataplane {

struct Rules final : cache::Retired {
    explicit Rules(std::shared_ptr<const Access> access, std::shared_ptr<const LocalNames> local = nullptr,
                   std::shared_ptr<const Routes> routes = nullptr)
        : access(std::move(access)), local(std::move(local)), routes(std::move(routes)) {}
    /// Without what is shared.
    std::size_t bytes() const override { return sizeof *this; }

    const std::shared_ptr<const Access> access;    ///< null is for control alone: nobody is limited
    const std::shared_ptr<const LocalNames> local; ///< null: nothing is answered here
    const std::shared_ptr<const Routes> routes;    ///< null: all is asked of the first group
};

/// Where control finds the rules in effect, each time that it wants to know. Without any all are null.
class CurrentRules {
  public:
    CurrentRules() = default;
    explicit CurrentRules(const cache::Replaceable<Rules>& now) : now_(&now) {}

    const Access* access() const { return now_ ? now_->get().access.get() : nullptr; }
    const LocalNames* local() const { return now_ ? now_->get().local.get() : nullptr; }
    const Routes* routes() const { return now_ ? now_->get().routes.get() : nullptr; }

  private:
    const cache::Replaceable<Rules>* now_ = nullptr;
};

} // namespace millrace::dataplane
