import { isApiSocket } from '@tessera/shared/volumes';
import { type Filter, onNodes } from './filter.js';

/** The node is a manager, whose API a container may mount, as far as the cluster's policy allows that. */
export const apiSocketFilter: Filter = {
  name: 'api-socket',
  isDynamic: false,
  forTask: (_task, spec, { view }) => {
    if (!spec.container?.mounts.some(isApiSocket)) return [];
    const isAllowed = view.cluster?.spec?.apiSocket !== 'nobody';
    return [
      {
        accepts: ({ node }) => isAllowed && node.role === 'manager',
        explain: (nodeCount) => `the API's socket is not given to containers ${onNodes(nodeCount)}`,
      },
    ];
  },
};
