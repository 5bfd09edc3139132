import { Run } from './run';

export default async function Page({ params }) {
  const { id } = await params;
  return <Run id={id} />;
}
