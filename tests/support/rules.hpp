// The rules in effect, of which a test replaces one part or the other.
#pragma once

#include <memory>
#include <utility>

#include "dataplane/rules.hpp"

namespace millrace::test {

struct RulesInEffect {
    RulesInEffect() : now(std::make_unique<const dataplane::Rules>(nullptr)) {} ///< nobody is limited
    explicit RulesInEffect(const dataplane::ClientPolicy& clients)
        : now(std::make_unique<const dataplane::Rules>(std::make_shared<const dataplane::Access>(clients))) {}

    const dataplane::Access& access() const { return *now.get().access; }
    dataplane::CurrentRules current() const { return dataplane::CurrentRules(now); }

    void replace_clients(const dataplane::ClientPolicy& clients, cache::Grace& grace) {
        const dataplane::Rules& r = now.get();
        now.replace(std::make_unique<const dataplane::Rules>(
                        std::make_shared<const dataplane::Access>(clients, *r.access), r.local, r.routes),
                    grace);
    }
    void replace_local(std::shared_ptr<const dataplane::LocalNames> local, cache::Grace& grace) {
        const dataplane::Rules& r = now.get();
        now.replace(std::make_unique<const dataplane::Rules>(r.access, std::move(local), r.routes), grace);
    }
    void replace_routes(std::shared_ptr<const dataplane::Routes> routes, cache::Grace& grace) {
        const dataplane::Rules& r = now.get();
        now.replace(std::make_unique<const dataplane::Rules>(r.access, r.local, std::move(routes)), grace);
    }

    cache::Replaceable<dataplane::Rules> now;
};

} // namespace millrace::test
